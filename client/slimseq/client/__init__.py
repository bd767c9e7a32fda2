"""A typed client of the service: `Client`, and `AsyncClient` for asyncio. `slimseq.answers` has all answers.

The client speaks HTTP. From the rest of Slimseq it uses the names of tasks alone. It is a distribution of its own,
`slimseq-client`. In an environment with the service it needs the extra `client`.
"""

from slimseq.answers import ComparedGeneration as ComparedGeneration
from slimseq.answers import Comparison as Comparison
from slimseq.answers import Experiment as Experiment
from slimseq.answers import FailedVariant as FailedVariant
from slimseq.answers import Feedback as Feedback
from slimseq.answers import Generation as Generation
from slimseq.answers import Output as Output
from slimseq.answers import OutputWarning as OutputWarning
from slimseq.answers import Piece as Piece
from slimseq.answers import Variant as Variant
from slimseq.client.client import AsyncClient as AsyncClient
from slimseq.client.client import Client as Client
from slimseq.client.errors import ClientError as ClientError
from slimseq.client.errors import EvaluationFailed as EvaluationFailed
from slimseq.client.errors import Retry as Retry
from slimseq.client.errors import ServiceProblem as ServiceProblem
from slimseq.client.errors import UnexpectedAnswer as UnexpectedAnswer
from slimseq.client.errors import Unreachable as Unreachable
from slimseq.client.errors import WaitedTooLong as WaitedTooLong
from slimseq.client.quality import Evaluation as Evaluation
from slimseq.client.quality import VariantQuality as VariantQuality
from slimseq.client.request_options import Options as Options
from slimseq.client.request_options import RequestTerms as RequestTerms
from slimseq.client.request_options import Task as Task
from slimseq.client.request_options import VariantChoice as VariantChoice
