"""Models of other projects whose layout st-export knows, turned into networks of st.train."""
