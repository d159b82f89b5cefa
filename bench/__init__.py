"""How fast it is, side by side with what people use today. `make bench` runs it; it judges nothing."""
