from imagesim.quickstart import main

if __name__ == "__main__":
    main()
