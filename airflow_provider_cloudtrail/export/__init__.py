"""The way of the data: what is read becomes audit events, and goes into a warehouse batch by batch."""
