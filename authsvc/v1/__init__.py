"""Generated stubs of protos/authsvc/v1: written by `make proto`, never by hand."""
