"""What Dassl calls, for every method alike: `Engine`, with its `Tester` and `Saver`, and the rules of a run."""
