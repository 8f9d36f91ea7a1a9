"""What is handed out: the wheel, the sdist, and the way a bare machine installs a checkout."""
