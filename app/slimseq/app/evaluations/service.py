"""The service of the `/evaluations` routes: checks a posted evaluation, and reads and changes those in the database."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import BinaryIO, NamedTuple

from pydantic import ValidationError
from sqlalchemy.orm import Session

from slimseq.answers import EvaluationSummary, Status
from slimseq.app.database.database import Database
from slimseq.app.database.tables import newest_first
from slimseq.app.errors import InvalidRequest
from slimseq.app.evaluations import rows
from slimseq.app.evaluations.runner import EvaluationRunner
from slimseq.app.evaluations.schemas import (
    PAIR_KEYS,
    EvaluatedSample,
    EvaluatedSamples,
    EvaluationJob,
    EvaluationList,
    EvaluationRequest,
    SampleOutput,
)
from slimseq.app.http.problems import describe
from slimseq.app.observability.logs import request_id
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.language_pairs import bases, in_words, is_of, pair_in_words, shared_pair
from slimseq.evaluation.dataset_files import read_uploaded
from slimseq.evaluation.datasets import available_datasets, dataset_languages
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import foreign_language
from slimseq.models_store.manifest import Task

# Name of the data set of posted pairs.
POSTED = "pairs"
# As long as the column.
MAX_NAME_CHARACTERS = 64
# The first pairs of a file, and so many characters of each text, say in which languages it is.
DETECTED_PAIRS, DETECTED_CHARACTERS = 20, 400


class EvaluationLimits(NamedTuple):
    """Maximum numbers of samples in an evaluation, of evaluations that have ended and are kept, and of waiting ones.

    Of those that wait, one sender may have half.
    """

    pairs: int
    kept: int
    queued: int = 8
    queued_by_one: int = 4


class Sender(NamedTuple):
    """Who posts, cancels or deletes an evaluation: the id of a key, or without keys the network of a client.

    Operators have neither. They may cancel and delete all evaluations, as may everybody without keys.
    """

    key_id: str | None = None
    network: str | None = None
    manages_all: bool = True


OPERATOR = Sender()


@dataclass(eq=False)
class EvaluationService:
    """Submits, lists, shows and cancels evaluations. Without the database, all of it raises `DatabaseUnavailable`."""

    _chooser: Chooser
    _database: Database
    _runner: EvaluationRunner
    _limits: EvaluationLimits

    async def post(self, request: EvaluationRequest, name: str = POSTED, sender: Sender = OPERATOR) -> EvaluationJob:
        """Queues an evaluation. `name` is that of the data set if the request has pairs."""
        for variant in request.variants:
            self._chooser.catalogue.entry(request.task, variant)
        row = self._row(request, name)
        languages = await self._languages(request)
        row.languages = None if languages is None else [*languages]
        row.key_id, row.network = sender.key_id, sender.network
        samples: Iterable[rows.Values] = ()
        if request.pairs is not None:
            source, target = PAIR_KEYS[request.task]
            samples = (
                {"number": number, "source": pair[source], "target": pair[target]}
                for number, pair in enumerate(request.pairs)
            )

        def submit(session: Session) -> EvaluationJob:
            limits = self._limits
            rows.submit(
                session,
                row,
                samples,
                max_queued=limits.queued,
                max_queued_by_one=limits.queued_by_one,
                max_kept=limits.kept,
            )
            return _described(row)

        self._runner.check_open()
        job = await self._database.run(submit)
        self._runner.wake()
        return job

    async def post_file(
        self,
        task: Task,
        variants: Sequence[str],
        name: str,
        file: BinaryIO,
        languages: Sequence[str] | None = None,
        sender: Sender = OPERATOR,
    ) -> EvaluationJob:
        shown = "".join(each for each in name if each.isprintable())[-MAX_NAME_CHARACTERS:]

        def read() -> EvaluationRequest:
            # One more shows that there are too many.
            examples = islice(read_uploaded(task, shown, file), self._limits.pairs + 1)
            pairs = [dict(zip(PAIR_KEYS[task], (each.source, each.target), strict=True)) for each in examples]
            fields = {"task": task, "variants": list(variants), "pairs": pairs, "languages": languages}
            try:
                return EvaluationRequest.model_validate(fields)
            except ValidationError as error:
                raise InvalidRequest(describe(error.errors())) from error

        return await self.post(await asyncio.to_thread(read), shown, sender)

    async def list(self, before: int | None, limit: int) -> EvaluationList:
        def read(session: Session) -> EvaluationList:
            page, following = newest_first(session, rows.EvaluationRow, before, limit)
            summaries = [EvaluationSummary.model_validate(row, from_attributes=True) for row in page]
            return EvaluationList(evaluations=summaries, next=following)

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> EvaluationJob:
        return await self._database.run(lambda session: _described(rows.find(session, identifier)), writes=False)

    async def cancel_or_delete(self, identifier: str, sender: Sender = OPERATOR) -> EvaluationJob:
        """Cancels an evaluation that has not ended, or deletes one that has.

        Raises:
            NotFound: there is none with this id.
            Forbidden: another key posted it.
        """
        owner = None if sender.manages_all else sender.key_id
        job = await self._database.delete(lambda session: _described(rows.cancel_or_delete(session, identifier, owner)))
        if job.status is Status.CANCELLED:
            self._runner.kill(identifier)
        return job

    async def samples(self, identifier: str, start: int, limit: int) -> EvaluatedSamples:
        def read(session: Session) -> EvaluatedSamples:
            number = rows.find(session, identifier).number
            found = rows.samples_of(session, number, start, limit + 1)
            page = {
                row.number: EvaluatedSample(number=row.number, source=row.source, target=row.target, outputs={})
                for row in found[:limit]
            }
            if page:
                for output in rows.outputs_of(session, number, min(page), max(page) + 1):
                    page[output.sample].outputs[output.variant] = SampleOutput.model_validate(output)
            return EvaluatedSamples(samples=list(page.values()), next=found[-1].number if len(found) > limit else None)

        return await self._database.run(read, writes=False)

    def _row(self, request: EvaluationRequest, name: str) -> rows.EvaluationRow:
        task, variants = request.task, tuple(request.variants)
        dataset, samples = self._dataset(request, name)
        return rows.EvaluationRow(
            id=uuid.uuid4().hex,
            task=task.value,
            variants=list(variants),
            digests=self._chooser.digests(task, variants),
            references=self._chooser.references(task, variants),
            dataset=dataset,
            samples=samples,
            are_samples_stored=request.pairs is not None,
            status=Status.QUEUED.value,
            progress=0.0,
            request_id=request_id.get(),
            created_at=datetime.now(UTC),
        )

    def _dataset(self, request: EvaluationRequest, name: str) -> tuple[str, int]:
        field, count = "samples", request.samples or self._limits.pairs
        if request.pairs is not None:
            field, count = "pairs", len(request.pairs)
        if count > self._limits.pairs:
            raise InvalidRequest(f"{field}: {count} are too many; at most {self._limits.pairs} are allowed")
        if request.dataset is None:
            return name, count
        # Only names are allowed: a path would let a client read files of this machine.
        known = available_datasets(request.task)
        if request.dataset not in known:
            raise InvalidRequest(f"dataset: there is no {request.dataset!r} here; there is {', '.join(known)}")
        return request.dataset, count

    async def _languages(self, request: EvaluationRequest) -> Sequence[str] | None:
        """Returns the languages of the data of an evaluation. None if no manifest of a variant can be read.

        Raises:
            UnsupportedLanguages: not all variants are of these languages, or pairs are surely in others.
            InvalidRequest: the request says other languages than its data set.
        """
        found = {name: self._chooser.defaults.find_manifest(request.task, name) for name in request.variants}
        manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
        stated, what = request.languages, "languages: the pairs are"
        if request.dataset is not None:
            stated, what = dataset_languages(request.task, request.dataset), f"dataset: {request.dataset} is"
            if request.languages is not None and bases(request.languages) != bases(stated):
                raise InvalidRequest(f"languages: the data set {request.dataset} is {in_words(stated)}")
        if stated is None:
            pair = shared_pair(manifests)
            if pair is not None and request.pairs is not None:
                await asyncio.to_thread(_check_texts, request.task, request.pairs, pair)
            return pair
        others = [f"{name} is {pair_in_words(each)}" for name, each in manifests.items() if not is_of(each, stated)]
        if others:
            raise UnsupportedLanguages(f"{what} {in_words(stated)}, and {', '.join(others)}")
        return stated


def _described(row: rows.EvaluationRow) -> EvaluationJob:
    summary = EvaluationSummary.model_validate(row, from_attributes=True)
    return EvaluationJob(
        **summary.model_dump(), digests=row.digests, runtimes=row.runtimes, error=row.error, **(row.results or {})
    )


def _check_texts(task: Task, pairs: Sequence[Mapping[str, str]], languages: Sequence[str]) -> None:
    """Refuses pairs that are surely in other languages than the variants, by their first texts."""
    for key, language in zip(PAIR_KEYS[task], (languages[0], languages[-1]) if languages else (), strict=False):
        text = " ".join(pair[key][:DETECTED_CHARACTERS] for pair in pairs[:DETECTED_PAIRS])
        if found := foreign_language(text, language):
            raise UnsupportedLanguages(
                f"pairs: each {key} seems to be in {found}, and the variants are {in_words(languages)}; if that is "
                "wrong, state the languages of the pairs as `languages`"
            )
