"""Converts model files of other projects, in the layouts known here, to networks of st.train."""
