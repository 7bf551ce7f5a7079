"""Demographic models with free parameters: demes files, moments' options files, and expressions."""

from ganinfer.models.catalogue import CatalogueModel, catalogue_model
from ganinfer.models.files import file_text
from ganinfer.models.graphs import DemesModel, check_generation_parameter, read_generation_time
from ganinfer.models.options import Held, Options, finite_number, hold, read_options
from ganinfer.models.patterns import Known
from ganinfer.models.places import ModelError, closest
from ganinfer.models.scaling import stretching_sizes

__all__ = [
    "CatalogueModel",
    "DemesModel",
    "Held",
    "Known",
    "ModelError",
    "Options",
    "catalogue_model",
    "check_generation_parameter",
    "closest",
    "file_text",
    "finite_number",
    "hold",
    "read_generation_time",
    "read_options",
    "stretching_sizes",
]
