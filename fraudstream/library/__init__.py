"""What `import fraudstream` gives, written for its users: the outermost surface; nothing inside may depend on it."""
