"""What routes ask for: the application's service objects, and the query parameters that several share."""

from typing import Annotated, cast

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from slimseq.app.http.security import check_operator
from slimseq.app.jobs.evaluation_service import EvaluationService
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.services import Services
from slimseq.app.serving.chooser import Choice
from slimseq.app.serving.inventory import Inventory
from slimseq.app.serving.pool import Pool
from slimseq.app.serving.readiness import Readiness
from slimseq.app.serving.service import GenerationService
from slimseq.app.settings import RuntimeChoice


async def services_of(request: Request) -> Services:
    """Returns the service objects of the application that handles the request."""
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]


async def _generation(services: ServicesDep) -> GenerationService:
    return services.generation


async def _evaluations(services: ServicesDep) -> EvaluationService:
    return services.evaluations


async def _inventory(services: ServicesDep) -> Inventory:
    return services.inventory


async def _latency(services: ServicesDep) -> LatencyWindow:
    return services.latency


async def _readiness(services: ServicesDep) -> Readiness:
    return services.readiness


async def _metrics(services: ServicesDep) -> ServiceMetrics:
    return services.metrics


async def _pool(services: ServicesDep) -> Pool:
    return services.pool


GenerationDep = Annotated[GenerationService, Depends(_generation)]
EvaluationsDep = Annotated[EvaluationService, Depends(_evaluations)]
InventoryDep = Annotated[Inventory, Depends(_inventory)]
LatencyDep = Annotated[LatencyWindow, Depends(_latency)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
MetricsDep = Annotated[ServiceMetrics, Depends(_metrics)]
PoolDep = Annotated[Pool, Depends(_pool)]

RuntimeQuery = Annotated[
    RuntimeChoice,
    Query(description="What runs it; `auto` takes the fastest that was measured on this kind of CPU."),
]
VariantQuery = Annotated[
    str | None, Query(max_length=64, description="The variant that answers; the task's default if absent.")
]
RetentionQuery = Annotated[
    float | None,
    Query(
        gt=0,
        le=2,
        allow_inf_nan=False,
        description="Instead of a variant: the fastest one that keeps at least this part of the quality of the base "
        "model that the default variant was made from.",
    ),
]


class ChoiceQuery(BaseModel):
    """Who answers, as a query says it."""

    model_config = ConfigDict(extra="forbid")

    variant: VariantQuery = None
    min_retention: RetentionQuery = None
    runtime: RuntimeQuery = "auto"

    def choice(self) -> Choice:
        """Returns it, freed of HTTP."""
        return Choice(self.variant, self.min_retention, named(self.runtime))


async def _choice(query: Annotated[ChoiceQuery, Query()]) -> Choice:
    return query.choice()


def named(runtime: str) -> str | None:
    """Returns the runtime that a request asks for, None where it leaves the choice to the service."""
    return None if runtime == "auto" else runtime


ChoiceDep = Annotated[Choice, Depends(_choice)]


async def _operator(request: Request, services: ServicesDep) -> None:
    check_operator(request.headers.get("authorization"), services.admin_token)


OperatorOnly = Depends(_operator)
