"""Many scores of one model, and anyone's score maps, on many data sets under one protocol."""
