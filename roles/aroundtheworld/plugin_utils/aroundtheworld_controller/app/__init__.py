"""The app on the controller: where it comes from, and what of it a release is."""
