"""Show the predictions of the teacher and of students, sentence by sentence, in one HTML page."""
