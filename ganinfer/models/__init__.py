"""Demographic models with free parameters: demes files, moments' options files, and expressions."""

from ganinfer.models.files import file_text
from ganinfer.models.graphs import DemesModel
from ganinfer.models.options import finite_number, hold, read_options
from ganinfer.models.places import ModelError, closest

__all__ = ["DemesModel", "ModelError", "closest", "file_text", "finite_number", "hold", "read_options"]
