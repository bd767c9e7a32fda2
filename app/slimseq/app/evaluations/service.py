"""What the `/evaluations` routes do: checks and queues a posted evaluation, shows evaluations, and cancels them.

The transactions are in `slimseq.app.evaluations.rows`. `slimseq.app.evaluations.runner` runs what is queued.
"""

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
from slimseq.models_store.manifest import Manifest, Task

# Name of the data set of posted pairs.
POSTED = "pairs"
# The column `evaluations.dataset` has 64 characters.
MAX_NAME_CHARACTERS = 64
# The languages of posted pairs are detected in the first pairs, and in the first characters of each text: enough for
# the detector, and little work.
DETECTED_PAIRS = 20
DETECTED_CHARACTERS = 400


class EvaluationLimits(NamedTuple):
    """The limits of evaluations: counts, all of them."""

    # Pairs or samples in an evaluation.
    pairs: int
    # Evaluations that have ended and are kept.
    kept: int
    # Evaluations in the queue: of all senders, and of one sender.
    queued: int = 8
    queued_by_one: int = 4


class Sender(NamedTuple):
    """Who posts, cancels or deletes an evaluation."""

    # The id of the key of the request. None without keys, and for the operator's token.
    key_id: str | None = None
    # Without keys, the network of the client. Else None.
    network: str | None = None
    # Whether the sender may cancel and delete the evaluations of others. Operators may, and without keys everybody.
    manages_all: bool = True


OPERATOR = Sender()


@dataclass(eq=False)
class EvaluationService:
    """Submits, lists, shows and cancels evaluations.

    Each method raises `DatabaseUnavailable` while the database is down.
    """

    _chooser: Chooser
    _database: Database
    _runner: EvaluationRunner
    _limits: EvaluationLimits

    async def post(self, request: EvaluationRequest, name: str = POSTED, sender: Sender = OPERATOR) -> EvaluationJob:
        """Queues an evaluation. `name` becomes the name of its data set if the request has pairs."""
        for variant in request.variants:
            # Raises `UnknownVariant` if the store does not have it.
            self._chooser.catalogue.entry(request.task, variant)
        row = self._new_row(request, name)
        languages = await self._checked_languages(request)
        row.languages = None if languages is None else list(languages)
        row.key_id = sender.key_id
        row.network = sender.network
        # The runner's process reads the samples of a named data set.
        samples: Iterable[rows.Values] = ()
        if request.pairs is not None:
            source_key, target_key = PAIR_KEYS[request.task]
            samples = (
                {"number": number, "source": pair[source_key], "target": pair[target_key]}
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
        """Queues an evaluation of the pairs in an uploaded file. `name` is the name of the file."""
        # The end of a long name says more: it has the ending, which tells the format.
        dataset = "".join(character for character in name if character.isprintable())[-MAX_NAME_CHARACTERS:]

        def read() -> EvaluationRequest:
            # One pair above the limit is read, so that `_new_row` refuses a file with too many.
            examples = islice(read_uploaded(task, dataset, file), self._limits.pairs + 1)
            source_key, target_key = PAIR_KEYS[task]
            pairs = [{source_key: each.source, target_key: each.target} for each in examples]
            fields = {"task": task, "variants": list(variants), "pairs": pairs, "languages": languages}
            try:
                return EvaluationRequest.model_validate(fields)
            except ValidationError as error:
                raise InvalidRequest(describe(error.errors())) from error

        request = await asyncio.to_thread(read)
        return await self.post(request, dataset, sender)

    async def list_page(self, before: int | None, limit: int) -> EvaluationList:
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
        only_of_key = None if sender.manages_all else sender.key_id

        def cancel_or_delete(session: Session) -> EvaluationJob:
            return _described(rows.cancel_or_delete(session, identifier, only_of_key))

        job = await self._database.delete(cancel_or_delete)
        if job.status is Status.CANCELLED:
            self._runner.kill(identifier)
        return job

    async def samples(self, identifier: str, start: int, limit: int) -> EvaluatedSamples:
        """Returns at most `limit` samples from number `start` on, with the outputs that there are so far."""

        def read(session: Session) -> EvaluatedSamples:
            number = rows.find(session, identifier).number
            # One more than the page shows whether there is a next page.
            found = rows.find_samples(session, number, start, limit + 1)
            page = {
                row.number: EvaluatedSample(number=row.number, source=row.source, target=row.target, outputs={})
                for row in found[:limit]
            }
            if page:
                for output in rows.find_outputs(session, number, min(page), max(page) + 1):
                    page[output.sample].outputs[output.variant] = SampleOutput.model_validate(output)
            has_next_page = len(found) > limit
            return EvaluatedSamples(samples=list(page.values()), next=found[-1].number if has_next_page else None)

        return await self._database.run(read, writes=False)

    def _new_row(self, request: EvaluationRequest, name: str) -> rows.EvaluationRow:
        task, variants = request.task, tuple(request.variants)
        count = self._checked_count(request)
        dataset = name if request.dataset is None else _checked_dataset(task, request.dataset)
        return rows.EvaluationRow(
            id=uuid.uuid4().hex,
            task=task.value,
            variants=list(variants),
            digests=self._chooser.digests(task, variants),
            references=self._chooser.references(task, variants),
            dataset=dataset,
            samples=count,
            are_samples_stored=request.pairs is not None,
            status=Status.QUEUED.value,
            progress=0.0,
            request_id=request_id.get(),
            created_at=datetime.now(UTC),
        )

    def _checked_count(self, request: EvaluationRequest) -> int:
        """Returns the number of pairs, or the maximum number of samples of the data set, unless it is above the limit.

        Raises:
            InvalidRequest: it is above the limit.
        """
        if request.pairs is not None:
            field = "pairs"
            count = len(request.pairs)
        else:
            field = "samples"
            count = request.samples or self._limits.pairs
        if count > self._limits.pairs:
            raise InvalidRequest(f"{field}: {count} are too many; at most {self._limits.pairs} are allowed")
        return count

    async def _checked_languages(self, request: EvaluationRequest) -> Sequence[str] | None:
        """Returns the languages of the data of an evaluation. None if no manifest of a variant can be read.

        Raises:
            UnsupportedLanguages: not all variants are of these languages, or pairs are surely in others.
            InvalidRequest: the request says other languages than its data set.
        """
        manifests = {}
        for name in request.variants:
            manifest = self._chooser.defaults.find_manifest(request.task, name)
            if manifest is not None:
                manifests[name] = manifest
        if request.dataset is not None:
            languages = dataset_languages(request.task, request.dataset)
            if request.languages is not None and bases(request.languages) != bases(languages):
                raise InvalidRequest(f"languages: the data set {request.dataset} is {in_words(languages)}")
            _check_variants(manifests, languages, f"dataset: {request.dataset} is")
            return languages
        if request.languages is not None:
            _check_variants(manifests, request.languages, "languages: the pairs are")
            return request.languages
        # The request does not say in which languages its pairs are: they should be in those of the variants.
        pair = shared_pair(manifests)
        if pair is not None and request.pairs is not None:
            await asyncio.to_thread(_check_texts, request.task, request.pairs, pair)
        return pair


def _described(row: rows.EvaluationRow) -> EvaluationJob:
    summary = EvaluationSummary.model_validate(row, from_attributes=True)
    return EvaluationJob(
        **summary.model_dump(), digests=row.digests, runtimes=row.runtimes, error=row.error, **(row.results or {})
    )


def _checked_dataset(task: Task, dataset: str) -> str:
    # Only names are allowed: a path would let a client read files of this machine.
    known = available_datasets(task)
    if dataset not in known:
        raise InvalidRequest(f"dataset: there is no {dataset!r} here; there is {', '.join(known)}")
    return dataset


def _check_variants(manifests: Mapping[str, Manifest], languages: Sequence[str], what_is: str) -> None:
    """Refuses variants of other languages than the data. `what_is` begins the text of the error."""
    others = [f"{name} is {pair_in_words(each)}" for name, each in manifests.items() if not is_of(each, languages)]
    if others:
        raise UnsupportedLanguages(f"{what_is} {in_words(languages)}, and {', '.join(others)}")


def _check_texts(task: Task, pairs: Sequence[Mapping[str, str]], languages: Sequence[str]) -> None:
    """Refuses pairs that are surely in other languages than the variants, by their first texts."""
    if not languages:
        return
    # A summary has the language of its document: the only one of `languages` is the first and the last.
    for key, language in zip(PAIR_KEYS[task], (languages[0], languages[-1]), strict=True):
        text = " ".join(pair[key][:DETECTED_CHARACTERS] for pair in pairs[:DETECTED_PAIRS])
        found = foreign_language(text, language)
        if found:
            raise UnsupportedLanguages(
                f"pairs: each {key} seems to be in {found}, and the variants are {in_words(languages)}; if that is "
                "wrong, state the languages of the pairs as `languages`"
            )
