"""The arm of an experiment that a call belongs to.

A call is assigned to an arm before its variant is selected, and leaves the arm if the arm's variant fails.
`slimseq.app.serving.traffic` draws the arm. The service of generation asks for one only while an experiment runs.
"""

from dataclasses import dataclass, replace
from http import HTTPStatus

from slimseq.app.errors import InternalError
from slimseq.app.generate.call import Call, with_languages
from slimseq.app.http.problems import problem_type
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.selection.language_pairs import own_pair, serves
from slimseq.app.serving.traffic import ERRORS, Traffic
from slimseq.models_store.errors import SlimseqError


@dataclass(frozen=True)
class Arms:
    """The arms of the calls of one service. Used from the event loop."""

    _defaults: Defaults
    _traffic: Traffic

    def assign(self, call: Call) -> None:
        """Lets the variant of an arm answer a call that leaves the variant to the service, if an experiment runs."""
        # A requested runtime may exist for one arm only. That arm would get all such requests, and the experiment would
        # be biased.
        if not call.choice.is_open or call.choice.runtime is not None:
            return
        pair = self._defaults.find_pair(call.task, call.prompt.languages)
        if pair is None:
            return
        assignment = self._traffic.assign(call.task, pair, call.terms.unit)
        if assignment is None:
            return
        manifest = self._defaults.find_manifest(call.task, assignment.arm)
        # Without a manifest, the arm's variant has left the store. It is assigned nevertheless: the call then fails,
        # which counts as an error of the arm, and the default variant answers (see `leave`).
        if manifest is not None:
            if not serves(manifest, pair):
                # Another artifact has taken the arm's place since the experiment was started.
                return
            if own_pair(manifest) != pair:
                call.prompt = with_languages(call.prompt, call.task, pair)
        call.assignment = assignment
        call.choice = replace(call.choice, variant=assignment.arm)

    def leave(self, call: Call) -> bool:
        """Lets the default variant answer in place of an arm that cannot. Returns False if the call has no arm.

        The client did not ask for the arm. So the failure counts as an error of the arm, and the client gets an answer.
        """
        # A comparison names its variants, and no other one answers in the place of a variant that was named.
        if call.assignment is None or call.is_compared:
            return False
        self._traffic.count(call.task, call.assignment, ERRORS)
        call.assignment = None
        call.choice = replace(call.choice, variant=None)
        return True

    def count_failure(self, call: Call, error: Exception) -> None:
        """Counts a failure of the service (status 5xx) as an error of the call's arm.

        A request that is refused, and a client that disconnects, say nothing about the arm.
        """
        if call.assignment is None:
            return
        # Any other exception is a mistake of the service.
        known_error = error if isinstance(error, SlimseqError) else InternalError()
        problem = problem_type(known_error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._traffic.count(call.task, call.assignment, ERRORS)
