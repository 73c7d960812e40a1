"""SMS: what each says, and their way to the operator's webhook."""
