"""The options that several verbs take, each in one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", help="Settings as YAML; see --dry-run for all of them.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, as train.steps=2000.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="The (first) seed.")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many replicates, one seed each.")]
_IMAGES = "Images: mnist, fmnist, cifar10, emoji, IDX, .npz, folder."
_source = typer.Option(
    "--data", metavar="NAME|FILE|FOLDER", help=f"{_IMAGES} Text: facts, .jsonl, .csv, .tsv, .parquet, .arrow, folder."
)
NeededData = Annotated[str, _source]
Data = Annotated[str | None, _source]
ImageData = Annotated[str | None, typer.Option("--data", metavar="NAME|FILE|FOLDER", help=_IMAGES)]
Device = Annotated[
    str | None, typer.Option("--device", metavar="cpu|cuda", help="Where the models live \\[cpu]; cuda: all GPUs seen.")
]
Out = Annotated[Path, typer.Option("--out", help="The run folder; the same command again resumes there.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Print the configuration and the plan; write nothing.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N runs; marked as not comparable.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Remove what vestige wrote in the run folder and start over.")]
Reuse = Annotated[
    list[Path] | None,
    typer.Option("--reuse", metavar="FOLDER", help="Take over finished runs with the same fingerprints from there."),
]
By = Annotated[
    str | None, typer.Option("--by", help="Images: ssim, aligned, embedding, all. Text: embedding, lexical, all.")
]
QuestionColumn = Annotated[str | None, typer.Option("--question", metavar="COLUMN", help="Of text: the questions.")]
AnswerColumn = Annotated[str | None, typer.Option("--answer", metavar="COLUMN", help="Of text: the answers.")]
IdColumn = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Of text: the records' ids.")]
EncoderName = Annotated[
    str | None, typer.Option("--encoder", metavar="NAME|FOLDER", help="Of --by embedding \\[pixels; text: minilm].")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Worker processes, one thread each.")]
Training = Annotated[str, typer.Option("--training", help="The training arm: with or without similar samples.")]
