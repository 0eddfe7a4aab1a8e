"""Which class each sample is asked for."""

from pipeline.errors import ConfigError


def parse_labels(text: str, num_classes: int) -> tuple[int, ...]:
    """Returns the classes that samples cycle through: sample i gets the (i mod n)-th of them.

    Args:
        text: "all", one class ("3") or several ("0,1,2").
        num_classes: Classes the model knows; 0 for a model without labels, which takes only "all" and gets none.

    Raises:
        ConfigError: The text is of another form or names a class the model does not know.
    """
    if text == "all":
        return tuple(range(num_classes))
    if not num_classes:
        raise ConfigError(f"labels: got {text!r}, but the checkpoint's model has no labels; expected all")
    try:
        labels = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"labels: got {text!r}, expected all, one class or classes separated by commas") from None
    for label in labels:
        if not 0 <= label < num_classes:
            raise ConfigError(f"labels: got class {label}, expected 0 to {num_classes - 1}")
    return labels
