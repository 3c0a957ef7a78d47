"""What neighbours say: the vote, folds held out, calibration of votes."""
