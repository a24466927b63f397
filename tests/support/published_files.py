"""Files of the layout that the frameworks' libraries publish, with weights drawn at random."""


def write_published(framework_name, variant, folder):
    """A file of the layout that the library publishes; its path and the backbone's features."""
    if framework_name == "torch":
        import torch
        import torchvision

        makers = {
            "vgg16": torchvision.models.vgg16,
            "resnet50": torchvision.models.resnet50,
            "mobilenetv2": torchvision.models.mobilenet_v2,
        }
        generator = torch.Generator().manual_seed(1)
        with torch.device("meta"):
            layout = makers[variant]().state_dict()

        def draw(name, entry):
            if name.startswith("classifier"):  # nothing reads it, and vgg16's is half a gigabyte
                return torch.zeros(entry.shape)
            drawn = torch.rand(entry.shape, generator=generator)
            return ((drawn - 0.5) / 10 if drawn.ndim > 1 else drawn).to(entry.dtype)

        tensors = {name: draw(name, entry) for name, entry in layout.items()}
        path = folder / f"{variant}.pth"
        torch.save(tensors, path)
        return path, {f"backbone.{name}": tensor.numpy() for name, tensor in tensors.items()}
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    makers = {
        "vgg16": keras.applications.VGG16,
        "resnet50": keras.applications.ResNet50,
        "mobilenetv2": keras.applications.MobileNetV2,
    }
    keras.utils.set_random_seed(1)
    model = makers[variant](include_top=False, weights=None, input_shape=(64, 64, 3))
    if variant == "vgg16":  # behind thirteen layers of Glorot's weights little is left of an image
        for layer in model.layers:
            for kernel in layer.trainable_variables[:1]:
                kernel.assign(1.4 * kernel.numpy())
    path = folder / f"{variant}_notop.h5"
    with h5py.File(path, "w") as file:  # as keras.applications' files are: of Keras 2
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path, {f"backbone.{v.path}": v.numpy() for v in model.variables}
