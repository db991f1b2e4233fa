"""The error a person outside the code can act on."""


class InputError(ValueError):
    """Something given to a step is not what the step needs.

    The message is one line: where (file, column, parameter), what was found, what was expected.
    """

    def __init__(self, where: str, found: str, expected: str) -> None:
        """Join the three parts into the line the user reads.

        Args:
            where: File, column, parameter or URI the error is about.
            found: What was found there.
            expected: What was expected instead.
        """
        self.where, self.found, self.expected = where, found, expected
        line = f"{where}: found {found}, expected {expected}"
        super().__init__(" ".join(line.split()))
