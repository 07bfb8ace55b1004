"""`lampit audit keygen`: the key pair with which the archive's heads are signed and checked.

In: a file name. Out: a private key for the archive agent, a public key for auditors.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from agents.signing import make_key


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The two files and the public key as one JSON object.")
def command(file: Path, as_json: bool) -> None:
    """Make an Ed25519 key pair: FILE for the archive agent (LAMPIT_ARCHIVE_KEY_FILE), FILE.pub for every auditor.

    Nothing that exists is replaced. Whoever has FILE can sign; keep it where the archive's readers cannot reach it, and
    give FILE.pub to auditors by another way than the archive itself.

    \b
    Example: lampit audit keygen archive.key
    """
    public_file = file.with_name(f"{file.name}.pub")
    public = make_key(file, public_file)
    if as_json:
        click.echo(msgspec.json.encode({"private": str(file), "public": str(public_file), "key": public}))
    else:
        click.echo(f"private key: {file}\npublic key:  {public_file}\n{public}")
