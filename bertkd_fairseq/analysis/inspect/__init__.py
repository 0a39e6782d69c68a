"""What a teacher store holds, and what students make of it."""
