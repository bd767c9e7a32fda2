"""A typed client of the service: `Client`, and `AsyncClient` for asyncio. `slimseq.client.answers` has all answers.

It speaks HTTP and imports nothing else of Slimseq. `pip install 'slimseq[client]'` installs what it needs.
"""

from slimseq.client.answers import ComparedGeneration as ComparedGeneration
from slimseq.client.answers import Comparison as Comparison
from slimseq.client.answers import Evaluation as Evaluation
from slimseq.client.answers import Experiment as Experiment
from slimseq.client.answers import FailedVariant as FailedVariant
from slimseq.client.answers import Feedback as Feedback
from slimseq.client.answers import Generation as Generation
from slimseq.client.answers import Output as Output
from slimseq.client.answers import OutputWarning as OutputWarning
from slimseq.client.answers import Piece as Piece
from slimseq.client.answers import Quality as Quality
from slimseq.client.answers import Variant as Variant
from slimseq.client.calls import Choice as Choice
from slimseq.client.calls import Options as Options
from slimseq.client.calls import Task as Task
from slimseq.client.calls import Terms as Terms
from slimseq.client.client import AsyncClient as AsyncClient
from slimseq.client.client import Client as Client
from slimseq.client.errors import ClientError as ClientError
from slimseq.client.errors import EvaluationFailed as EvaluationFailed
from slimseq.client.errors import Retry as Retry
from slimseq.client.errors import ServiceProblem as ServiceProblem
from slimseq.client.errors import UnexpectedAnswer as UnexpectedAnswer
from slimseq.client.errors import Unreachable as Unreachable
from slimseq.client.errors import WaitedTooLong as WaitedTooLong
