"""What several experiments take for what their reports leave out, in words."""

PIL = "PIL rounds resized pixels to whole numbers; here they keep their fractions"
SHUFFLED = "the training images are shuffled anew in each epoch"
R1_TRAINING = (
    "optimizer, learning rate and batch are not said: SGD at 1e-3 with momentum 0.9, as in the "
    "two reports that say how an AlexNet learned, and batches of 32, Keras's default"
)
R1_TRAIN_ACCURACY = (
    "how the accuracy on the training images was measured is not said: ours is the mean over the "
    "last epoch's steps, Dropout included, and no verdict rests on it"
)
R2_BATCH = (
    "batches of 128, the last partial one dropped: the report says 128 of its augmented run, and "
    "the accuracy that it prints with sixteen digits is 43,913 of 44,928 images, which are 351 "
    "batches of 128 out of 45,000"
)
R2_VALIDATION = "the 10 % for validation are drawn class by class from the training images"
R4_BATCH = "the batch is not said: 32, Keras's default"
R2_BUFFER = "the shuffle buffer is as large as the test part: 10,000"
