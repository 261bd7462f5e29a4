"""Everything needed to do a job again."""

from console.counts import counted
from producer.report.formatting import cut, moment, name
from producer.report.html import Markup, element, join
from producer.report.html_tables import definitions
from storage.jobs.job import Job
from storage.models.store import IMPORTED, Manifest


def origin_section(job: Job, manifest: Manifest | None) -> Markup:
    batches = counted(job.batches, "batch", "batches")
    images = f"{job.total:,} in {batches} of {job.batch_size:,}, digest "
    rows: list[tuple[str, str]] = [
        ("Model", join(name(str(job.model)), ", SHA-256 ", element("code", job.model.sha256))),
        ("Images", join(images, element("code", job.fingerprint))),
    ]
    if manifest is None:
        return definitions(rows)
    rows.append(("Network", manifest.network))
    if manifest.epochs is not None:
        start = f" from {manifest.parent}" if manifest.parent else ""
        how = (
            f"{manifest.network}{start}, preset {manifest.preset}, "
            f"{counted(manifest.epochs or 0, 'epoch')} of "
            f"batches of {manifest.batch_size}, seed {manifest.seed}"
        )
        rows[-1] = ("Network", how)
    rows.append(("Model made", moment(manifest.created_at)))
    if manifest.dataset is not None and manifest.dataset_sha256 is not None:
        data = name(f"{manifest.dataset}@{manifest.dataset_number}")
        digest = element("code", manifest.dataset_sha256)
        rows.append((use_of_data(manifest), join("data set ", data, ", digest ", digest)))
    if manifest.versions:
        versions = sorted(manifest.versions.items())
        said = ", ".join(f"{library} {version}" for library, version in versions)
        rows.append(("Made with", cut(said, 400)))
    return definitions(rows)


def use_of_data(manifest: Manifest) -> str:
    """What the model's data set was to it."""
    return "Tested on" if manifest.network == IMPORTED else "Trained on"
