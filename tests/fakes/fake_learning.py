"""Steps of learning that only write down how they were called."""

import json

from landtide.steps import _call


def tune_groups(study_uri, samples):
    _call("tune groups", study_uri, samples=samples)
    return [json.dumps({"study_uri": study_uri, "samples": samples, "groups": [group]}) for group in ("0", "1")]


def tune(study_uri, samples, groups):
    _call("tune", study_uri, samples=samples, groups=groups)
    return "journal"


def tune_report(study_uri, samples, meetings):
    _call("tune report", study_uri, samples=samples, meetings=meetings)
    return "search", "<h1>search</h1>"


def draw_unlabelled(study_uri, cubes):
    _call("draw unlabelled", study_uri, cubes=cubes)
    return "series"


def pretrain(study_uri, samples):
    _call("pretrain", study_uri, samples=samples)
    return "weights"
