"""Forms: what a person fills in before something is asked for or brought."""
