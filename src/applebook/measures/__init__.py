"""What each claim's overlay names under `measure`: one module per claim, with `measure(study) -> Findings`."""
