"""Sign-in: the flow, the table of steps, and step-up."""
