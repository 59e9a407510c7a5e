/* A program without a dynamic loader. */
int main(void)
{
	return 0;
}
