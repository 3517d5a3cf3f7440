# SPDX-License-Identifier: Apache-2.0
"""What `stylegan info` says of another program's checkpoint."""


def checkpoint_rows(path):
    """{what: value} for the file `path`."""
    from stylegan.interop.open import open_checkpoint, sha256

    checkpoint = open_checkpoint(path)
    config, meta = checkpoint.config, checkpoint.meta
    rows = {"file": str(path), "format": checkpoint.format, "family": checkpoint.family}
    if config is None:
        rows["networks"] = f"cannot be built: {checkpoint.reason}"
    else:
        height, width = config.G.resolution
        rows["images"] = f"{width}x{height} px, {config.G.channels} channels"
    for name in ("G_ema", "G", "D"):
        rows[name] = _holds(checkpoint, name)
    if config is not None:
        if "D" in checkpoint.stored:
            rows["architecture"] = f"{config.G.title}; D {config.D.architecture}"
        rows["layers"] = layers(config.G)
        rows["latents"] = f"z {config.G.z_dim}, w {config.G.w_dim}"
        rows["classes"] = f"{config.G.c_dim}, by number" if config.G.c_dim else "none"
    if "augment_p" in meta:
        rows["augmentation"] = f"p {meta['augment_p']:.4g}"
    data = meta.get("dataset", {}).get("arguments")
    rows["data"] = ", ".join(f"{k} {v}" for k, v in data.items()) if data else "not recorded"
    if checkpoint.code:
        rows["source text"] = (
            f"{checkpoint.code:,} characters of Python come with it; they are not run"
        )
    rows["sha256"] = sha256(path)
    return rows


def layers(config):
    """The layers of a generator with their channels, in words."""
    mapping = f"mapping {config.mapping_layers}; "
    if config.model == "stylegan3":
        from stylegan.models.stylegan3_layers import geometry

        return mapping + ", ".join(g.name for g in geometry(config))
    from stylegan.models.layers import block_resolutions, channels_of

    blocks = block_resolutions(config.resolution)
    return mapping + ", ".join(f"b{r} {channels_of(r, config)}" for r in blocks)


def _holds(checkpoint, name):
    tensors = checkpoint.stored.get(name)
    if tensors is None:
        return "not in the file"
    if checkpoint.tensors is None:
        return f"{sum(a.numel for a in tensors.values()):,} numbers in {len(tensors):,} tensors"
    return f"{checkpoint.parameters(name):,} parameters"
