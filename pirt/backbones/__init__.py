"""Backbones beside the paper's, a file a family; `pirt.backbone_table` names them."""
