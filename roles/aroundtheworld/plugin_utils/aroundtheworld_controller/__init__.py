"""What the role's action plugins share on the controller; each file is about one subject."""
