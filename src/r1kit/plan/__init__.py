"""What a recipe is about to do: stages, batch sizes, memory, disk space, hours and cost, computed without torch."""

from r1kit.plan.cluster import ClusterPlan, cluster_plan
from r1kit.plan.cluster_text import render_cluster
from r1kit.plan.gpus import GPUS, Cluster
from r1kit.plan.outline import Plan, StagePlan, make_plan
from r1kit.plan.text import render
from r1kit.plan.units import show_bytes, size

__all__ = [
    "GPUS",
    "Cluster",
    "ClusterPlan",
    "Plan",
    "StagePlan",
    "cluster_plan",
    "make_plan",
    "render",
    "render_cluster",
    "show_bytes",
    "size",
]
