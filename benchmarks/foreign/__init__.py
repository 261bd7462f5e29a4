"""Do models that were trained elsewhere give through the queue what their authors get?"""
