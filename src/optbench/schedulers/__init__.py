"""Learning-rate schedules that torch lacks."""
