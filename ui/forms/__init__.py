"""Forms that request jobs, and forms that upload networks and images."""
