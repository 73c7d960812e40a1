"""What accounts prove themselves with beside a password, and which of it their users have chosen."""
