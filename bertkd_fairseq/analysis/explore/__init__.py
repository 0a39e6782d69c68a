"""The teacher's predictions sentence by sentence, with students' beside them, as one page to look through."""
