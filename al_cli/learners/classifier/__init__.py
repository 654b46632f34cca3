"""Networks that classify whole images: torch and torchvision, without Detectron2."""
