"""What makes a trajectory unfit for training: plain rules, each with one named reason."""
