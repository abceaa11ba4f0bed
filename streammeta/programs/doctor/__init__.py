"""What `streammeta doctor` looks at, as values: each module gives the checks of one matter."""
