"""The Faust apps (intake, ledger, roll-up, archive) and what they share."""
