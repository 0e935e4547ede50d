"""What each claim's overlay names under `measure`: one module a claim, with `measure(study) -> Findings`."""
