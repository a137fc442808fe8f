"""What people would use instead, each built the way its own documentation builds it."""
