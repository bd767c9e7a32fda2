"""The answers of the service: `slimseq.app` writes them, and `slimseq.client` reads them.

Each module has the answers of some endpoints. All of their classes may be imported from here. A client also keeps the
fields that a newer service adds. Answers that the client does not use are in the `schemas` modules of the service's
features.
"""

from slimseq.answers.evaluations import EvaluationSummary as EvaluationSummary
from slimseq.answers.evaluations import Status as Status
from slimseq.answers.experiments import ArmReport as ArmReport
from slimseq.answers.experiments import Experiment as Experiment
from slimseq.answers.experiments import ExperimentConclusion as ExperimentConclusion
from slimseq.answers.experiments import ExperimentState as ExperimentState
from slimseq.answers.experiments import Feedback as Feedback
from slimseq.answers.experiments import MeanRating as MeanRating
from slimseq.answers.experiments import PairReport as PairReport
from slimseq.answers.experiments import RatingDifference as RatingDifference
from slimseq.answers.experiments import Verdict as Verdict
from slimseq.answers.experiments import Votes as Votes
from slimseq.answers.experiments import WhenDecided as WhenDecided
from slimseq.answers.generation import ChainedVariant as ChainedVariant
from slimseq.answers.generation import ComparedAgreement as ComparedAgreement
from slimseq.answers.generation import ComparedGeneration as ComparedGeneration
from slimseq.answers.generation import Comparison as Comparison
from slimseq.answers.generation import DiffPart as DiffPart
from slimseq.answers.generation import ExperimentArm as ExperimentArm
from slimseq.answers.generation import FailedVariant as FailedVariant
from slimseq.answers.generation import Generation as Generation
from slimseq.answers.generation import Output as Output
from slimseq.answers.generation import OutputWarning as OutputWarning
from slimseq.answers.generation import Piece as Piece
from slimseq.answers.generation import ScoredText as ScoredText
from slimseq.answers.generation import Similarity as Similarity
from slimseq.answers.generation import Timings as Timings
from slimseq.answers.interval import Interval as Interval
from slimseq.answers.problem import Problem as Problem
from slimseq.answers.variants import Retention as Retention
from slimseq.answers.variants import Variant as Variant
