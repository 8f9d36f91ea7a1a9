"""The `fraudstream` command: which subcommands there are, and how an error ends; every command has a file of its own.

Exit codes: 0 success, 1 a check failed or the world did not answer, 2 wrong use or settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import click

from fraudstream import __version__
from fraudstream.errors import DataFileError, FraudstreamError, ModelError, SettingsError

EXIT_FAILED, EXIT_WRONG_USE = 1, 2


class Lazy(NamedTuple):
    """Where a command lives, and its line in the list of commands, so that listing them imports nothing."""

    place: str
    help: str


COMMANDS = {
    "demo": Lazy("fraudstream.cli.demo:demo", "Broker, worker and producer in one go; shows verdicts as they come."),
    "worker": Lazy("fraudstream.cli.worker:worker", "Scores the stream: Faust's worker with safe defaults."),
    "api": Lazy("fraudstream.cli.api:api", "Answers over HTTP without a worker, from the profiles in Redis."),
    "topics": Lazy("fraudstream.cli.topics:topics", "Creates, checks or describes the Kafka topics."),
    "simulate": Lazy("fraudstream.cli.simulate:simulate", "Writes a labelled stream of simulated transactions."),
    "load": Lazy("fraudstream.cli.load:load", "Produces at a fixed rate and measures the latency of verdicts."),
    "train": Lazy("fraudstream.cli.train:train", "Fits a model to a file of transactions."),
    "models": Lazy("fraudstream.cli.models:models", "Registers models, promotes one, goes back to an earlier one."),
    "backfill": Lazy("fraudstream.cli.backfill:backfill", "Fills the profiles from a file, before going live."),
    "evaluate": Lazy("fraudstream.cli.evaluate:evaluate", "Judges a model on labels, beside well-known baselines."),
    "replay": Lazy("fraudstream.cli.replay:replay", "Judges a file of transactions offline."),
    "explain": Lazy("fraudstream.cli.explain:explain", "Shows a verdict as it was then, and what it would be if."),
    "parity": Lazy("fraudstream.cli.parity:parity", "Compares live, replay and training, value by value."),
    "keys": Lazy("fraudstream.cli.keys:keys", "Makes, lists and removes API keys, which are kept as hashes."),
    "audit": Lazy("fraudstream.cli.audit:audit", "Keeps and checks the evidence of every verdict."),
    "doctor": Lazy("fraudstream.cli.doctor:doctor", "Checks settings, servers, model and topics; says what to do."),
    "dead-letters": Lazy("fraudstream.cli.dead_letters:dead_letters", "Shows what could not be scored; puts it back."),
}

EXTRAS = {
    "confluent_kafka": "demo",
    "pandas": "train",
    "pyarrow": "train",
    "pyod": "evaluate",
    "river": "evaluate",
    "sklearn": "train",
    "alembic": "postgres",
    "asyncpg": "postgres",
    "sqlalchemy": "postgres",
    "redis": "redis",
}
"""Optional library -> the extra that installs it."""


class Failure(click.ClickException):
    """Ends a command with one line on stderr."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """Writes the line."""
        click.echo(f"fraudstream: {self.format_message()}", file=file, err=file is None)


class LazyGroup(click.Group):
    """Imports a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].place.partition(":")
        try:
            command: click.Command = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            raise missing_library(error) from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; an error of ours becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise missing_library(error) from None
        except (SettingsError, DataFileError, ModelError) as error:
            raise Failure(str(error), EXIT_WRONG_USE) from None
        except FraudstreamError as error:
            raise Failure(str(error), EXIT_FAILED) from None


def missing_library(error: ModuleNotFoundError) -> Failure:
    """What to install for a module that is not there.

    Raises:
        ModuleNotFoundError: the given one, where it is no optional library: then it is a fault of the package.
    """
    library = (error.name or "").partition(".")[0]
    if library not in EXTRAS:
        raise error
    return Failure(
        f"this command needs {library}, which is not installed: pip install 'fraudstream[{EXTRAS[library]}]'",
        EXIT_WRONG_USE,
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fraudstream")
def main() -> None:
    """Real-time fraud detection on Kafka. Settings come from environment variables: see `fraudstream doctor`."""


if __name__ == "__main__":
    main()
