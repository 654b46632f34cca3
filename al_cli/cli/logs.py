"""Where log lines of a command go."""

import logging


def configure() -> None:
    """Log lines on standard error: above the live progress on a terminal, plain with the time elsewhere."""
    from rich.logging import RichHandler

    from al_cli.masked import MaskedFormatter
    from al_cli.progress import console

    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="[%X]")
        handler.addFilter(lambda record: record.name != "al.round")
        handler.setFormatter(MaskedFormatter("%(message)s", "[%X]"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(MaskedFormatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    handler.addFilter(is_shown)
    logging.getLogger().handlers = [handler]
    logging.getLogger("al").setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def is_shown(record: logging.LogRecord) -> bool:
    """Our own lines and others' warnings; tracebacks are for the log file."""
    ours = record.name.split(".")[0] == "al"
    return (ours or record.levelno >= logging.WARNING) and record.name != "al.traceback"
