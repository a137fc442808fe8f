"""What is learned: encoders, critics, objectives, and the checkpoint folder that rebuilds them."""
